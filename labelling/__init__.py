"""How people judge clips: which are shown, the page that shows them, and what was answered.

Public:

* `labelling.plans.sample`: which clips are shown, as a pure function of a catalog, a plan and a seed.
* `labelling.answers.Answers`: what was answered, durable before anyone is told so.
* `labelling.agreement.agreement`: how far labellers agree.
* `labelling.server.serve`: the page.

A plan draws clips by a seed and says how likely each one was to be drawn:

>>> import pyarrow as pa
>>> from labelling.plans import sample
>>> clips = pa.table({"key": ["a_00000000", "b_00000000"], "decision": ["kept", "dropped:static"]})
>>> [(chosen.key, chosen.probability) for chosen in sample(clips, "dropped", 5, seed=0)]
[('b_00000000', 1.0)]

Labels leave as `labels/labels.jsonl`: one object a line with `key`, `label` (1 bad to 5 good gameplay),
`labeller`, `at` and, where there is one, `note`. What others wrote there is read first
(`labelling.elsewhere`).
"""
