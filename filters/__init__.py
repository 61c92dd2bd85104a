"""What is good: title rules on videos, scorers on clips. No threshold lives here.

Public: `filters.base` (`Scorer`, `ClipFrames`, `scorer_names`, `load_scorers`) and
`filters.titles` (`TitleRules`).

>>> from filters.titles import TitleRules
>>> rules = TitleRules(keywords=["platformer"], actions=["gameplay"], negations=["unboxing"])
>>> rules.verdict("Platformer gameplay, part 1", None).rule is None
True
>>> rules.verdict("Platformer gameplay and unboxing", None)
Verdict(rule='title_negation', matched='unboxing')

Adding a scorer is adding one file: see `filters.base.Scorer`.
"""
