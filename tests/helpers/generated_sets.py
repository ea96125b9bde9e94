"""Generators of synthetic sets, one a kind."""

from functools import partial

from aroface.datasets.synthetic.generate import generate_set

generate_training = partial(generate_set, "training")
generate_pairs = partial(generate_set, "pairs")
generate_tinyface = partial(generate_set, "tinyface")
generate_ijb = partial(generate_set, "ijb")
generate_ijbs = partial(generate_set, "ijbs")
