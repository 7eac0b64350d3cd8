"""The names of other libraries over this one: `import flame_remote.compat.ray as ray`."""
