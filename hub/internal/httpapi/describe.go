package httpapi

import (
	"time"

	"github.com/hubferry/hubferry/hub/internal/entity"
)

const (
	connectNamespace  = "http://schemas.microsoft.com/netservices/2010/10/servicebus/connect"
	instanceNamespace = "http://www.w3.org/2001/XMLSchema-instance"
	arraysNamespace   = "http://schemas.microsoft.com/2003/10/Serialization/Arrays"
)

// hubDescription has its elements in the order of the service's data contract.
type hubDescription struct {
	XMLNS                  string       `xml:"xmlns,attr"`
	Instance               string       `xml:"xmlns:i,attr"`
	MessageRetentionInDays int64        `xml:"MessageRetentionInDays"`
	Rules                  rules        `xml:"AuthorizationRules"`
	Status                 string       `xml:"Status"`
	UserMetadata           string       `xml:"UserMetadata,omitempty"`
	CreatedAt              string       `xml:"CreatedAt"`
	UpdatedAt              string       `xml:"UpdatedAt"`
	PartitionCount         int          `xml:"PartitionCount"`
	PartitionIDs           partitionIDs `xml:"PartitionIds"`
	Retention              *retention   `xml:"RetentionDescription"`
}

type rules struct {
	Rules []rule `xml:"AuthorizationRule"`
}

type rule struct {
	Type         string `xml:"i:type,attr"`
	ClaimType    string `xml:"ClaimType"`
	ClaimValue   string `xml:"ClaimValue"`
	Rights       rights `xml:"Rights"`
	CreatedTime  string `xml:"CreatedTime"`
	ModifiedTime string `xml:"ModifiedTime"`
	KeyName      string `xml:"KeyName"`
	PrimaryKey   string `xml:"PrimaryKey"`
	SecondaryKey string `xml:"SecondaryKey"`
}

type rights struct {
	Rights []string `xml:"AccessRights"`
}

type partitionIDs struct {
	Arrays string   `xml:"xmlns:d2p1,attr"`
	IDs    []string `xml:"d2p1:string"`
}

type retention struct {
	CleanupPolicy                 string `xml:"CleanupPolicy"`
	RetentionTimeInHours          int64  `xml:"RetentionTimeInHours,omitempty"`
	TombstoneRetentionTimeInHours int64  `xml:"TombstoneRetentionTimeInHours,omitempty"`
}

type groupDescription struct {
	XMLNS        string `xml:"xmlns,attr"`
	Instance     string `xml:"xmlns:i,attr"`
	CreatedAt    string `xml:"CreatedAt"`
	UpdatedAt    string `xml:"UpdatedAt"`
	UserMetadata string `xml:"UserMetadata,omitempty"`
}

type partitionDescription struct {
	XMLNS                  string `xml:"xmlns,attr"`
	Instance               string `xml:"xmlns:i,attr"`
	SizeInBytes            int64  `xml:"SizeInBytes"`
	BeginSequenceNumber    int64  `xml:"BeginSequenceNumber"`
	EndSequenceNumber      int64  `xml:"EndSequenceNumber"`
	IncomingBytesPerSecond int64  `xml:"IncomingBytesPerSecond"`
	OutgoingBytesPerSecond int64  `xml:"OutgoingBytesPerSecond"`
	LastEnqueuedOffset     int64  `xml:"LastEnqueuedOffset"`
	LastEnqueuedTimeUtc    string `xml:"LastEnqueuedTimeUtc"`
}

// stamp writes a time as the service does.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999Z") }

func describeHub(h *entity.Hub) *hubDescription {
	spec := h.Spec()
	d := &hubDescription{
		XMLNS: connectNamespace, Instance: instanceNamespace,
		MessageRetentionInDays: days(spec.Retention.For), Status: spec.Status.String(), UserMetadata: spec.UserMetadata,
		CreatedAt: stamp(h.CreatedAt()), UpdatedAt: stamp(h.UpdatedAt()),
		PartitionCount: h.PartitionCount(), PartitionIDs: partitionIDs{arraysNamespace, h.PartitionIDs()},
	}
	for _, r := range spec.Rules {
		d.Rules.Rules = append(d.Rules.Rules, rule{
			Type: "SharedAccessAuthorizationRule", ClaimType: "SharedAccessKey", ClaimValue: "None",
			Rights: rights{rightNames(r.Rights)}, CreatedTime: d.CreatedAt, ModifiedTime: d.UpdatedAt,
			KeyName: r.Name, PrimaryKey: r.Key, SecondaryKey: r.SecondaryKey,
		})
	}
	if spec.Retention.Compact {
		policy := "Compact"
		if spec.Retention.For > 0 {
			policy = "DeleteOrCompact"
		}
		d.Retention = &retention{policy, int64(spec.Retention.For / time.Hour), int64(spec.Retention.Tombstones / time.Hour)}
	}
	return d
}

// rightNames lists rights as the service does: a rule with Manage has them all.
func rightNames(r entity.Rights) []string {
	var names []string
	for _, right := range []entity.Rights{entity.Manage, entity.Send, entity.Listen} {
		if r.Has(right) {
			names = append(names, right.String())
		}
	}
	return names
}

// days rounds up; -1 stands for no limit, as in the Azure Resource Manager.
func days(d time.Duration) int64 {
	const day = 24 * time.Hour
	if d == 0 {
		return -1
	}
	return int64((d-1)/day) + 1
}

func describeGroup(g *entity.Group) *groupDescription {
	return &groupDescription{
		XMLNS: connectNamespace, Instance: instanceNamespace,
		CreatedAt: stamp(g.CreatedAt()), UpdatedAt: stamp(g.CreatedAt()), UserMetadata: g.UserMetadata(),
	}
}

func describePartition(p *entity.Partition) *partitionDescription {
	info := p.Info()
	d := &partitionDescription{
		XMLNS: connectNamespace, Instance: instanceNamespace, SizeInBytes: info.Bytes,
		BeginSequenceNumber: info.Begin, EndSequenceNumber: info.Last, LastEnqueuedOffset: info.LastOffset,
		LastEnqueuedTimeUtc: stamp(time.UnixMilli(info.LastEnqueued)),
	}
	if info.Last < 0 { // nothing was ever stored
		d.BeginSequenceNumber = -1
		d.LastEnqueuedTimeUtc = stamp(time.Time{})
	}
	return d
}
