"""Image-text retrieval: what it trains on, with which encoders and scorers, and how it is measured."""
