"""What QStash calls: one delivery, from its checks to its answer."""
