"""Learning: recipes, the one loop, and the stages of the paper."""
