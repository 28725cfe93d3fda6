package mem

import "github.com/hubferry/hubferry"

// ConnectionOptions is how to reach a namespace of a Broker.
type ConnectionOptions struct {
	Namespace string          `yaml:"namespace" jsonschema:"required" jsonschema_description:"Name of the namespace in the broker."`
	Key       hubferry.Secret `yaml:"key" jsonschema_description:"The key that the namespace asks for, if it is protected."`
}

// Validate implements hubferry.Options.
func (o *ConnectionOptions) Validate() []hubferry.Problem {
	if o.Namespace == "" {
		return []hubferry.Problem{{Field: "namespace", Message: "is required"}}
	}
	return nil
}

// SourceOptions is how a hub is read.
type SourceOptions struct {
	ConsumerGroup string `yaml:"consumerGroup" jsonschema:"default=$default" jsonschema_description:"Consumer group within which epochs count."`
}

// Validate implements hubferry.Options.
func (o *SourceOptions) Validate() []hubferry.Problem { return nil }

// TargetOptions is how hubs are written. There is nothing to choose.
type TargetOptions struct{}

// Validate implements hubferry.Options.
func (o *TargetOptions) Validate() []hubferry.Problem { return nil }
