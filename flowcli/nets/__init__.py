"""Networks of other people: what they take, what they give, and where they can be cut in two."""
