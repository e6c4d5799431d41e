# prints: 27000000 [0.0, 2.0, 4.0]
import jax, jax.numpy as jnp
print(int(jax.jit(lambda x: (x @ x.T).sum())(jnp.ones((300, 300)))), jax.vmap(jax.grad(lambda x: x ** 2))(jnp.arange(3.0)).tolist())
