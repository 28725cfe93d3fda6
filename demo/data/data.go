// Package data holds real public data for the demo, the examples and tests: one JSON
// event a line. Its README tells where they come from.
package data

import _ "embed"

// Flights are 20,000 flights of January to March 2001. A natural key is "origin".
//
//go:embed flights.ndjson
var Flights []byte

// Earthquakes are about 1,700 events of an earthquake feed, GeoJSON features of very
// different sizes. A natural key is "properties.net".
//
//go:embed earthquakes.ndjson
var Earthquakes []byte
