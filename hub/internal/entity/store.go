package entity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hubferry/hubferry/hub/internal/seglog"
)

// A namespace's folder holds LOCK, namespace.json, which lists the hubs, and
// hubs/<id>/<partition>/, the logs. The list is what counts: a folder that it
// does not name is what a crash left of a creation or a deletion.

const (
	listName      = "namespace.json"
	hubsName      = "hubs"
	deletedSuffix = ".deleted"
	listVersion   = 1

	// parallel is how many logs are opened or closed at a time: what takes
	// long about it is fsync.
	parallel = 8
)

type storedNamespace struct {
	Version int         `json:"version"`
	Name    string      `json:"name"`
	Hubs    []storedHub `json:"hubs"`
}

type storedHub struct {
	ID           string        `json:"id"`
	Name         string        `json:"name"`
	Created      time.Time     `json:"created"`
	Updated      time.Time     `json:"updated"`
	Partitions   int           `json:"partitions"`
	Groups       []storedGroup `json:"groups,omitempty"`
	Retention    storedKeep    `json:"retention"`
	Rules        []storedRule  `json:"rules,omitempty"`
	Status       Status        `json:"status,omitempty"`
	UserMetadata string        `json:"userMetadata,omitempty"`
}

type storedGroup struct {
	Name         string    `json:"name"`
	Created      time.Time `json:"created"`
	UserMetadata string    `json:"userMetadata,omitempty"`
}

type storedKeep struct {
	For        time.Duration `json:"for,omitempty"`
	Bytes      int64         `json:"bytes,omitempty"`
	Compact    bool          `json:"compact,omitempty"`
	Tombstones time.Duration `json:"tombstones,omitempty"`
}

type storedRule struct {
	Name         string `json:"name"`
	Key          string `json:"key"`
	SecondaryKey string `json:"secondaryKey,omitempty"`
	Rights       Rights `json:"rights"` // by name
}

// save writes the list of hubs.
func (n *Namespace) save(hubs map[string]*Hub) error {
	if n.o.Dir == "" {
		return nil
	}
	list := storedNamespace{Version: listVersion, Name: n.o.Name, Hubs: []storedHub{}}
	for _, h := range sortHubs(hubs) {
		list.Hubs = append(list.Hubs, h.stored())
	}
	b, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	return seglog.WriteFile(filepath.Join(n.o.Dir, listName), append(b, '\n'), n.o.Storage.Fsync != seglog.FsyncNever)
}

func (h *Hub) stored() storedHub {
	spec := h.Spec()
	s := storedHub{
		ID: h.id, Name: h.name, Created: h.created, Updated: h.UpdatedAt(), Partitions: spec.Partitions,
		Retention: storedKeep(spec.Retention), Status: spec.Status, UserMetadata: spec.UserMetadata,
	}
	for _, g := range h.Groups() {
		s.Groups = append(s.Groups, storedGroup{g.name, g.created, g.metadata})
	}
	for _, r := range spec.Rules {
		s.Rules = append(s.Rules, storedRule(r))
	}
	return s
}

func (n *Namespace) unstored(s storedHub) *Hub {
	spec := HubSpec{
		Name: s.Name, Partitions: s.Partitions, Retention: Retention(s.Retention),
		Status: s.Status, UserMetadata: s.UserMetadata,
	}
	for _, r := range s.Rules {
		spec.Rules = append(spec.Rules, Rule(r))
	}
	h := newHub(n, s.ID, s.Created, spec)
	h.state.Load().updated = s.Updated
	for _, g := range s.Groups {
		h.addGroup(g.Name, g.Created, g.UserMetadata)
	}
	return h
}

// load takes the folder and opens the hubs that it holds.
func (n *Namespace) load(ctx context.Context) error {
	var err error
	if n.lock, err = seglog.LockDir(n.o.Dir); err != nil {
		return err
	}
	list, err := n.readList()
	if err != nil {
		return err
	}
	if err := n.sweep(list); err != nil {
		return err
	}
	g, _ := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, s := range list.Hubs {
		h := n.unstored(s)
		n.hubs[strings.ToLower(h.name)] = h
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return n.openHub(h)
		})
	}
	return g.Wait()
}

func (n *Namespace) readList() (list storedNamespace, err error) {
	path := filepath.Join(n.o.Dir, listName)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		if logs, _ := filepath.Glob(filepath.Join(n.o.Dir, hubsName, "*", "*", "*.seg")); len(logs) > 0 {
			return list, fmt.Errorf("%s is missing but %s holds events; restore it from a backup, or remove the folder", path, filepath.Join(n.o.Dir, hubsName))
		}
		return list, nil
	}
	if err != nil {
		return list, err
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return list, fmt.Errorf("read %s: %w", path, err)
	}
	switch {
	case list.Version != listVersion:
		return list, fmt.Errorf("read %s: it has version %d, this program knows %d", path, list.Version, listVersion)
	case !strings.EqualFold(list.Name, n.o.Name):
		return list, fmt.Errorf("folder %s belongs to the namespace %q, not to %q; choose another folder", n.o.Dir, list.Name, n.o.Name)
	}
	for _, h := range list.Hubs {
		if len(h.ID) != 32 || h.Name == "" || h.Partitions < 1 || strings.ContainsFunc(h.ID, func(r rune) bool { return !strings.ContainsRune("0123456789abcdef", r) }) {
			return list, fmt.Errorf("read %s: the hub %q is not valid", path, h.Name)
		}
	}
	return list, nil
}

// sweep removes what crashes left. A folder with events that is neither listed
// nor marked as deleted is not touched.
func (n *Namespace) sweep(list storedNamespace) error {
	dir := filepath.Join(n.o.Dir, hubsName)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, h := range list.Hubs {
		known[h.ID] = true
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case known[e.Name()]:
		case strings.HasSuffix(e.Name(), deletedSuffix) || !holdsEvents(path):
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		default:
			n.o.Log.Warn("a folder with events belongs to no hub; remove it if you do not need it", "folder", path)
		}
	}
	return nil
}

// holdsEvents reports whether a hub's folder holds more than empty logs.
func holdsEvents(dir string) bool {
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.seg"))
	if err != nil || len(files) == 0 {
		return err != nil
	}
	for _, f := range files {
		if st, err := os.Stat(f); err != nil || st.Size() > seglog.EmptySegment {
			return true
		}
	}
	return false
}

// hubDir is the folder of a hub; "" in memory.
func (n *Namespace) hubDir(h *Hub) string {
	if n.o.Dir == "" {
		return ""
	}
	return filepath.Join(n.o.Dir, hubsName, h.id)
}

// openHub opens the logs of a hub that is not shared yet.
func (n *Namespace) openHub(h *Hub) error {
	s := *h.state.Load()
	var err error
	s.partitions, err = n.openPartitions(h, 0, s.spec.Partitions)
	h.state.Store(&s)
	if err != nil {
		return fmt.Errorf("hub %s: %w", h.name, err)
	}
	return nil
}

// openPartitions opens the logs of the partitions from to to-1. After an error
// none is open.
func (n *Namespace) openPartitions(h *Hub, from, to int) ([]*Partition, error) {
	parts := make([]*Partition, max(0, to-from))
	var g errgroup.Group
	g.SetLimit(parallel)
	for i := range parts {
		p := &Partition{hub: h, index: from + i, id: strconv.Itoa(from + i)}
		o := seglog.Options{
			Fsync: n.o.Storage.Fsync, SegmentBytes: n.o.Storage.SegmentBytes,
			Now: n.o.Now, Log: n.o.Log, OpenFile: n.o.OpenFile,
		}
		if dir := n.hubDir(h); dir != "" {
			o.Dir = filepath.Join(dir, p.id)
		}
		g.Go(func() (err error) {
			p.log, err = seglog.Open(o)
			if err == nil {
				parts[i] = p
			}
			return err
		})
	}
	err := g.Wait()
	if err == nil {
		return parts, nil
	}
	for _, p := range parts {
		if p != nil {
			err = errors.Join(err, p.log.Close())
		}
	}
	return nil, err
}

// dropHub closes the logs of a hub that is not listed and removes them.
func (n *Namespace) dropHub(h *Hub) error {
	var err error
	for _, p := range h.Partitions() {
		err = errors.Join(err, p.log.Close())
	}
	dir := n.hubDir(h)
	if dir == "" {
		return err
	}
	// Under a name that the next Open removes: half of it may stay if the
	// process is killed here.
	gone := dir + deletedSuffix
	if rerr := os.Rename(dir, gone); rerr != nil {
		return errors.Join(err, rerr)
	}
	return errors.Join(err, os.RemoveAll(gone))
}

// closeLogs closes the logs of all hubs, several at a time.
func (n *Namespace) closeLogs(hubs []*Hub) error {
	var g errgroup.Group
	g.SetLimit(parallel)
	for _, h := range hubs {
		for _, p := range h.Partitions() {
			g.Go(p.log.Close)
		}
	}
	return g.Wait()
}
