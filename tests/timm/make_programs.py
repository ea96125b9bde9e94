"""Export small networks of timm to ONNX, with images and what timm itself computes for them; run by timm's Python."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import timm
import torch

SIZE, FEATURES = 112, 64


def main(folder: Path) -> None:
    """Write ``NAME.onnx``, ``NAME.pth`` and ``NAME.npz`` for a residual network and a transformer."""
    torch.manual_seed(0)
    for name, options in (("resnet10t", {}), ("test_vit", {"img_size": SIZE})):
        network = timm.create_model(name, num_classes=FEATURES, **options).eval()
        pixels = torch.randint(0, 256, (2, 3, SIZE, SIZE)).float()
        with torch.inference_mode():
            embeddings = network((pixels - 127.5) / 127.5)
        np.savez(folder / f"{name}.npz", pixels=pixels.numpy().astype(np.uint8), embeddings=embeddings.numpy())
        torch.save(network.state_dict(), folder / f"{name}.pth")
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, SIZE, SIZE),),
            str(folder / f"{name}.onnx"),
            dynamo=False,
            input_names=["input"],
            dynamic_axes={"input": {0: "n"}},
            opset_version=17,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
