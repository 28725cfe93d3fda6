package blob

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/hubferry/hubferry"
)

// look is when a group was looked for in other spellings, and what was found.
type look struct {
	at       time.Time
	prefixes []string
}

const (
	// lookAgain is how long a search for other spellings is good for.
	lookAgain = 10 * time.Minute
	// lookPages bounds one step of a search, in a container that is full of other things.
	lookPages = 4
)

// Spellings returns the names, "namespace/hub/group", under which other programs keep
// records of a group in this container, other than in lower case. The Go and Java SDKs
// write names as they are configured: with mixed case they share nothing with the SDKs
// that fold case, nor with us.
func (s *Store) Spellings(ctx context.Context, group hubferry.ID) ([]string, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	found, err := s.search(ctx, s.container, group)
	for i, prefix := range found {
		found[i] = strings.TrimSuffix(prefix, "/")
	}
	return found, s.explain("search for other spellings", err, false)
}

// spellings returns the prefixes of a group's other spellings, and reports them. A search
// that fails is no reason not to use what is found in lower case.
func (s *Store) spellings(ctx context.Context, c *container.Client, group hubferry.ID) []string {
	s.mu.Lock()
	l, ok := s.looked[group]
	s.mu.Unlock()
	if ok && time.Since(l.at) < lookAgain {
		return l.prefixes
	}
	prefixes, err := s.search(ctx, c, group)
	if err != nil {
		s.log.Warn("the container could not be searched for other spellings of the group", "group", group.String(), "error", err)
		return l.prefixes
	}
	for _, prefix := range prefixes {
		s.report("spelling "+prefix, "another program keeps records of this consumer group in another case and does not see ours: configure it with lower-case names",
			"group", group.String(), "found", strings.TrimSuffix(prefix, "/"))
	}
	s.mu.Lock()
	s.looked[group] = look{time.Now(), prefixes}
	s.mu.Unlock()
	return prefixes
}

// search goes down the three levels of a group's name and keeps what is equal but for
// case.
func (s *Store) search(ctx context.Context, c *container.Client, group hubferry.ID) ([]string, error) {
	own := groupPrefix(group)
	above := []string{""}
	for _, segment := range strings.SplitAfter(strings.TrimSuffix(own, "/"), "/") {
		segment = strings.TrimSuffix(segment, "/")
		var level []string
		for _, prefix := range above {
			names, err := s.folders(ctx, c, prefix)
			if err != nil {
				return nil, err
			}
			for _, name := range names {
				if strings.EqualFold(strings.TrimSuffix(strings.TrimPrefix(name, prefix), "/"), segment) {
					level = append(level, name)
				}
			}
		}
		above = level
	}
	return slices.DeleteFunc(above, func(prefix string) bool { return prefix == own }), nil
}

// folders lists the names one level below a prefix.
func (s *Store) folders(ctx context.Context, c *container.Client, prefix string) ([]string, error) {
	var names []string
	pager := c.NewListBlobsHierarchyPager("/", &container.ListBlobsHierarchyOptions{Prefix: &prefix})
	for range lookPages {
		if !pager.More() {
			break
		}
		p, err := pager.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		if p.Segment == nil {
			continue
		}
		for _, b := range p.Segment.BlobPrefixes {
			if b.Name != nil {
				names = append(names, *b.Name)
			}
		}
	}
	return names, nil
}
