"""Work to be measured: each a small scenario whose threads go on for as long as they are let.

measured = measure(WORKLOADS["gup_one_file"], strategy, release, PRESETS["cloud"], Load(cpus=2, processes=2), 0.001)
"""

from mmsim.timed.workloads.frames import video_frames
from mmsim.timed.workloads.gup import gup_one_file, gup_one_page, gup_private_files
from mmsim.timed.workloads.hostile import hostile_client
from mmsim.timed.workloads.leftovers import leftovers
from mmsim.timed.workloads.server import dio_server
from mmsim.timed.workloads.storms import exit_storm, munmap_storm
from mmsim.timed.workloads.workload import Load, Measurement, Workload, measure

WORKLOADS = {
    workload.name: workload
    for workload in (
        gup_one_file,
        gup_one_page,
        gup_private_files,
        dio_server,
        video_frames,
        munmap_storm,
        exit_storm,
        hostile_client,
        leftovers,
    )
}

__all__ = ["WORKLOADS", "Load", "Measurement", "Workload", "measure"]
