"""The only room with torch and diffusers: it runs in a process of its own, one a device.

Modules here may import torch at their top, except those that run before torch does: this one,
`__main__` and `process`.
"""
