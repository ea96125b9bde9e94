"""What MXNet does, run by MXNet's own Python: writes records, reads records, decodes images.

    oracle.py TASKS.json ANSWERS.json

TASKS is a list of ``[verb, arguments]``, ANSWERS the list of what each verb gave.
"""

import hashlib
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mxnet
import numpy as np
from mxnet import recordio


def write(rec, idx, records):
    """Write ``[key, label or labels, id, id2, file of the content]`` with MXNet's own writer."""
    writer = recordio.MXIndexedRecordIO(idx, rec, "w")
    for key, label, number, number2, content in records:
        header = recordio.IRHeader(0, label, number, number2)
        writer.write_idx(key, recordio.pack(header, Path(content).read_bytes()))
    writer.close()


def write_raw(rec, idx, payloads):
    """Write payloads, files of bytes, as they are under the keys from 0."""
    writer = recordio.MXIndexedRecordIO(idx, rec, "w")
    for key, payload in enumerate(payloads):
        writer.write_idx(key, Path(payload).read_bytes())
    writer.close()


def read(rec, idx):
    """Labels and hash of the content of every record, by key."""
    reader = recordio.MXIndexedRecordIO(idx, rec, "r")
    found = {}
    for key in reader.keys:
        header, content = recordio.unpack(reader.read_idx(key))
        labels = [float(header.label)] if header.flag == 0 else [float(label) for label in header.label]
        found[str(key)] = [int(header.flag), labels, int(header.id), sha256(content)]
    return found


def read_raw(rec, idx):
    """Hashes of all payloads: by the index, and one after the other without it."""
    reader = recordio.MXIndexedRecordIO(idx, rec, "r")
    indexed = [sha256(reader.read_idx(key)) for key in sorted(reader.keys)]
    reader.reset()
    return [indexed, [sha256(payload) for payload in iter(reader.read, None)]]


def decode(file):
    """Shape and hash of an image's RGB pixels, by ``mx.image.imdecode`` and by ``recordio.unpack_img``."""
    data = Path(file).read_bytes()
    image = mxnet.image.imdecode(data).asnumpy()
    _, unpacked = recordio.unpack_img(recordio.pack(recordio.IRHeader(0, 1.0, 0, 0), data), iscolor=1)
    return [[list(pixels.shape), sha256(np.ascontiguousarray(pixels))] for pixels in (image, unpacked[:, :, ::-1])]


def training_set(folder, reader):
    """A training set as the project reads it here: labels, hashes in two threads, and where an image is."""
    from aroface.datasets.formats.training_set import TrainingSet

    found = TrainingSet.open(Path(folder), reader=reader)
    with ThreadPoolExecutor(2) as pool:
        hashes = list(pool.map(lambda position: sha256(found.jpeg(position)), range(len(found))))
    return [found.num_classes, found.labels.tolist(), hashes, str(found.error(1, "bad")), type(found._images).__name__]


def refusal(folder, reader):
    """What the project says of a damaged training set."""
    from aroface.errors import InputError

    try:
        training_set(folder, reader)
    except InputError as error:
        return str(error)
    return None


def versions():
    """Of the packages that matter, and what must not be loaded."""
    return {"mxnet": mxnet.__version__, "numpy": np.__version__, "torch": "torch" in sys.modules}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    verbs = (write, write_raw, read, read_raw, decode, training_set, refusal, versions)
    known = {verb.__name__: verb for verb in verbs}
    tasks = json.loads(Path(sys.argv[1]).read_text())
    Path(sys.argv[2]).write_text(json.dumps([known[verb](*arguments) for verb, arguments in tasks]))
