"""How fast it is: one file a benchmark, each measured in one run against its floor and its peers."""
