"""How fast it is: one file a benchmark, each measured in one run against its floor and its peers.

Figures are CPU seconds of a process and all it started. Contenders take turns, round after round, so
that a busy machine is unfair to all of them alike, and a ratio is the median of the rounds' ratios.
"""
