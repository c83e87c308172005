"""Times Keras' ConvLSTM2D in a process of its own: a JSON request a line in, seconds out.

The argument is the dtype policy.
"""

import json
import sys
import time

import keras
import numpy as np

THREADS = 2


def torch_steps(layer, x):
    import torch  # noqa: PLC0415 - the backend decides

    torch.set_num_threads(THREADS)
    x = torch.tensor(x, requires_grad=True)

    def train():
        layer.zero_grad(set_to_none=True)
        x.grad = None
        layer(x).sum().backward()

    def infer():
        with torch.no_grad():
            layer(x)

    return train, infer


def tensorflow_steps(layer, x):
    import tensorflow as tf  # noqa: PLC0415 - the backend decides

    x = tf.constant(x)

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(layer(x))
        return tape.gradient(total, [x, *layer.trainable_variables])

    forward = tf.function(lambda: layer(x))
    return lambda: [g.numpy() for g in gradients()], lambda: forward().numpy()


def main() -> None:
    keras.config.set_dtype_policy(sys.argv[1])
    made = {"torch": torch_steps, "tensorflow": tensorflow_steps}[keras.backend.backend()]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf  # noqa: PLC0415 - the backend decides

        tf.config.threading.set_intra_op_parallelism_threads(THREADS)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    steps = {}
    for line in sys.stdin:
        channels, filters, kernel, size, batch, times, training = request = json.loads(line)
        key = tuple(request[:-1])
        if key not in steps:
            steps.clear()
            layer = keras.layers.ConvLSTM2D(filters, kernel, padding="same", return_sequences=True)
            x = np.random.default_rng(0).random((batch, times, size, size, channels), np.float32)
            layer.build(x.shape)
            steps[key] = made(layer, x)
            for step in steps[key]:
                step()
        started = time.perf_counter()
        steps[key][0 if training else 1]()
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
