"""Two devices, so that meshes can be tested; set before JAX is first used."""

import jax

jax.config.update("jax_num_cpu_devices", 2)
