"""What a frontend calls: the only producer, the callbacks from QStash, and the queries."""
