"""Where functions run: one provider for each cloud and one for this machine, behind one small interface."""
