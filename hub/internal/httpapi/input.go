package httpapi

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/hubferry/hubferry/hub/internal/entity"
)

// input is what a PUT sends: an ATOM entry with a description. Elements are
// found by their names alone, in any order: clients differ in prefixes.
type input struct {
	XMLName xml.Name   `xml:"entry"`
	Hub     hubInput   `xml:"content>EventHubDescription"`
	Group   groupInput `xml:"content>ConsumerGroupDescription"`
}

type hubInput struct {
	MessageRetentionInDays *int64          `xml:"MessageRetentionInDays"`
	Rules                  *rulesInput     `xml:"AuthorizationRules"`
	Status                 string          `xml:"Status"`
	UserMetadata           *string         `xml:"UserMetadata"`
	PartitionCount         *int            `xml:"PartitionCount"`
	Retention              *retentionInput `xml:"RetentionDescription"`
}

type groupInput struct {
	UserMetadata string `xml:"UserMetadata"`
}

type rulesInput struct {
	Rules []ruleInput `xml:"AuthorizationRule"`
}

type ruleInput struct {
	Rights       []string `xml:"Rights>AccessRights"`
	KeyName      string   `xml:"KeyName"`
	PrimaryKey   string   `xml:"PrimaryKey"`
	SecondaryKey string   `xml:"SecondaryKey"`
}

// retentionInput has the names of the Azure Resource Manager, the only place
// where the service lets compaction be set.
type retentionInput struct {
	CleanupPolicy                 string `xml:"CleanupPolicy"`
	RetentionTimeInHours          int64  `xml:"RetentionTimeInHours"`
	TombstoneRetentionTimeInHours int64  `xml:"TombstoneRetentionTimeInHours"`
}

// readInput reads the body of a PUT. An empty one asks for the defaults.
func readInput(r *http.Request) (input, error) {
	var in input
	b, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	switch {
	case err != nil:
		return in, badRequest("The body could not be read: %v.", err)
	case len(b) > maxBody:
		return in, &entity.Error{Status: http.StatusRequestEntityTooLarge, Text: "The description is too large."}
	case len(bytes.TrimSpace(b)) == 0:
		return in, nil
	}
	d := xml.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&in); err != nil {
		return in, badRequest("The body is not a valid ATOM entry: %v.", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return in, badRequest("The body goes on behind its ATOM entry.")
	}
	return in, nil
}

// apply takes over what a description says; what it leaves out stays.
func (d *hubInput) apply(spec *entity.HubSpec) error {
	if d.PartitionCount != nil {
		if *d.PartitionCount < 1 {
			return badRequest("PartitionCount: %d is not a number of partitions.", *d.PartitionCount)
		}
		spec.Partitions = *d.PartitionCount
	}
	if err := d.applyRetention(&spec.Retention); err != nil {
		return err
	}
	if d.UserMetadata != nil {
		spec.UserMetadata = *d.UserMetadata
	}
	if d.Status != "" {
		status, err := parseStatus(d.Status)
		if err != nil {
			return err
		}
		spec.Status = status
	}
	if d.Rules == nil {
		return nil
	}
	spec.Rules = []entity.Rule{}
	for _, r := range d.Rules.Rules {
		rule := entity.Rule{Name: r.KeyName, Key: r.PrimaryKey, SecondaryKey: r.SecondaryKey}
		if err := rule.Rights.UnmarshalText([]byte(strings.Join(r.Rights, ","))); err != nil {
			return badRequest("AuthorizationRule '%s': %v.", r.KeyName, err)
		}
		spec.Rules = append(spec.Rules, rule)
	}
	return nil
}

func (d *hubInput) applyRetention(keep *entity.Retention) error {
	const maxDays = math.MaxInt64 / int64(24*time.Hour)
	if days := d.MessageRetentionInDays; days != nil && *days > 0 && *days <= maxDays {
		keep.For = time.Duration(*days) * 24 * time.Hour
	} else if days != nil && *days != 0 {
		return badRequest("MessageRetentionInDays: %d is not a number of days.", *days)
	}
	r := d.Retention
	if r == nil {
		return nil
	}
	if h := r.RetentionTimeInHours; h < 0 || h > 24*maxDays || r.TombstoneRetentionTimeInHours < 0 || r.TombstoneRetentionTimeInHours > 24*maxDays {
		return badRequest("RetentionDescription: the number of hours is out of range.")
	}
	keep.Tombstones = time.Duration(r.TombstoneRetentionTimeInHours) * time.Hour
	switch hours := time.Duration(r.RetentionTimeInHours) * time.Hour; {
	case strings.EqualFold(r.CleanupPolicy, "Delete"), r.CleanupPolicy == "":
		keep.Compact = false
		if hours > 0 {
			keep.For = hours
		}
	case strings.EqualFold(r.CleanupPolicy, "Compact"):
		*keep = entity.Retention{Compact: true, Tombstones: keep.Tombstones}
	case strings.EqualFold(r.CleanupPolicy, "DeleteOrCompact"):
		*keep = entity.Retention{Compact: true, Tombstones: keep.Tombstones, For: hours}
	default:
		return badRequest("CleanupPolicy: '%s' is not known; expected Delete, Compact or DeleteOrCompact.", r.CleanupPolicy)
	}
	return nil
}

func parseStatus(s string) (entity.Status, error) {
	for status := entity.Active; status <= entity.ReceiveDisabled; status++ {
		if strings.EqualFold(s, status.String()) {
			return status, nil
		}
	}
	return 0, badRequest("Status: '%s' is not known.", s)
}
