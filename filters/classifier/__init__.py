"""The quality classifier: learns from labels which clips are good.

The way through it: `filters.labels` gives the clips and what people said of them; `folds` splits them
by source video; a backbone (`backbones`, one file each) learns; `calibrate` turns its logits into a
probability and a confidence; `decide` chooses a rule on both; `measures` says how good that is, with
intervals; `artifact` keeps the weights with their card; `filters.quality` scores clips with it.

Torch, torchvision, open_clip and scikit-learn are imported by the functions that need them.
"""
