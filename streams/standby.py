"""One worker of a role reads all of its partitions; the others stand by and take over."""

from __future__ import annotations

from collections.abc import Mapping

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata


class SoleAssignor(RoundRobinPartitionAssignor):  # type: ignore[misc]  # aiokafka has no types
    """For a role whose partitions cannot be told apart: what stands on one of them settles what another one asked.

    It has the name of the assignor whose place it takes, for a group lets nobody in who knows others.
    """

    @classmethod
    def assign(
        cls, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        sole = min(members)
        given = {member: ConsumerProtocolMemberAssignment(cls.version, [], b"") for member in members}
        given |= super().assign(cluster, {sole: members[sole]})
        return given
