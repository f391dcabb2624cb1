"""What embeds and scores: encoders, scorers, and the models made of them."""
