"""Terms of a loss that compare the images of a batch with each other, beside the classes or instead of them."""
