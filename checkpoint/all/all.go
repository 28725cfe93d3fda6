// Package all is the list of the checkpoint stores that come with Hubferry. Who embeds
// the engine and needs only one of them imports that one instead.
package all

import (
	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint/blob"
	"github.com/hubferry/hubferry/checkpoint/mem"
	"github.com/hubferry/hubferry/checkpoint/postgres"
	"github.com/hubferry/hubferry/checkpoint/sqlite"
)

// Stores returns the kinds of stores, ordered by name.
func Stores() []hubferry.StoreKind {
	return []hubferry.StoreKind{blob.Kind(), mem.Kind(), postgres.Kind(), sqlite.Kind()}
}
