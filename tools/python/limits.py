"""How much a sandbox may use: one immutable value with the defaults."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """Limits of one sandbox; times in seconds, sizes in MiB (2**20 bytes), text in characters.

    ``cpu_s`` counts for all processes together, from the beginning of a call until the next one begins; None turns
    it off. ``memory_mb`` and ``sockets`` are for all processes inside together, ``address_space_mb`` for each of
    them. ``upload_mb`` is for each file that the caller gives, ``given_mb`` for all of them together.
    """

    wall_s: float = 60.0
    interrupt_grace_s: float = 2.0
    cancel_grace_s: float = 2.0
    start_s: float = 60.0
    cpu_s: float | None = 300.0
    memory_mb: int = 2048
    address_space_mb: int = 3584
    processes: int = 128
    tasks: int = 256
    open_files: int = 1024
    sockets: int = 1000
    file_mb: int = 512
    work_mb: int = 512
    tmp_mb: int = 256
    shm_mb: int = 256
    home_mb: int = 64
    inodes: int = 100_000
    code_chars: int = 1_000_000
    output_chars: int = 1_000_000
    model_head_chars: int = 8_000
    model_tail_chars: int = 4_000
    images: int = 20
    image_mb: int = 8
    image_pixels: int = 40_000_000
    upload_mb: int = 8
    given_mb: int = 64
    download_mb: int = 8

    @property
    def frame_bytes(self) -> int:
        """The longest frame that the caller accepts: one image or file in base64, with room around it."""
        return max(self.image_mb, self.download_mb, 4) * 2 * 2**20

    @property
    def cell_bytes(self) -> int:
        """All that the caller reads for one call; text counts up to six bytes per character in JSON."""
        return 8 * self.output_chars + 4 * 2**20 * self.image_mb + self.frame_bytes
