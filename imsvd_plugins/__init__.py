"""IMSVD and SSL-HSIC for Lightly and OpenMMLab's mmpretrain.

Importing this package imports no host, no matplotlib and not even torch; take what you need from

* :mod:`imsvd_plugins.losses`: the losses as modules,
* :mod:`imsvd_plugins.functional`: the mathematics as pure functions,
* :mod:`imsvd_plugins.lightly`, :mod:`imsvd_plugins.openmmlab`: the two hosts' parts,
* :mod:`imsvd_plugins.plugins`: what is installed, including other packages' extensions.
"""

__version__ = "0.1.0"
