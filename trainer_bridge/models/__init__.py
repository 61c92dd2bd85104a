"""The models of Genie (Bruce et al. 2024, arXiv 2402.15391): torch, and nothing else of ours.

Each takes video `[B, T, 3, H, W]` in [0, 1] and has `loss(video, valid) -> Losses`, which is all that
the training loop knows of it. A tensor's axes stand at the end of its name: B batch, T frames, H and
W pixels, C channels of a picture or of a code, N patches a frame, D width of a layer, K codes.
"""
