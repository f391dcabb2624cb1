"""Weights in torch: compiled, mined, checked against autograd, and measured on losses from elsewhere."""
