"""What can go wrong while flows run."""

from core.errors import SommelierError


class FlowError(SommelierError):
    """Base of the errors of `flows`."""


class NothingInService(FlowError):
    """A flow needs a promoted bundle, and there is none."""


class BundleNotFound(FlowError):
    """A bundle is named that is neither a folder, nor promoted, nor among the shop's candidates."""


class BundleRefused(FlowError):
    """A bundle cannot go into service by hand, or was never evaluated."""


class NothingValidated(FlowError):
    """A shop's quarantine is asked for, and nothing of it was ever validated."""


class NoAudience(FlowError):
    """It cannot be said for whom texts are to be written."""


class NoWriter(FlowError):
    """Texts are asked for, and the bundle in service has nothing that writes them."""


class PortTaken(FlowError):
    """A part of the platform cannot listen where the settings say."""


class PartFailed(FlowError):
    """A process of the platform ended, or did not become ready in time."""


class ShopTaken(FlowError):
    """A platform that runs already serves this shop's deployments."""


class RunFailed(FlowError):
    """A run of a deployment ended in another state than completed, or left no outcome."""


class DiskFull(FlowError):
    """The work folder's disk has less room than is to stay free."""


class UnsafeGuess(FlowError):
    """Data came without settings, and something about them has to be said before they can be read."""


class ChampionChanged(FlowError):
    """What is in service is no longer what a candidate was compared with."""


class DataChanged(FlowError):
    """The data that a run reads are not to be used any more."""


class NotForgotten(FlowError):
    """Somebody is to be taken in again who is not forgotten."""


class ErasureUnfinished(FlowError):
    """Something of a person who is to be forgotten could not be removed."""


class ApprovalImpossible(FlowError):
    """A run is to wait for somebody's approval, and cannot."""


class NothingWaits(FlowError):
    """Somebody approves or refuses, and no such run waits for it."""
