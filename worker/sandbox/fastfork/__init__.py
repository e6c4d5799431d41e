"""Makes a fork of the zygote cheap. Everything here is an optimisation that can be switched off."""
