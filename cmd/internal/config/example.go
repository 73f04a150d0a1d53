package config

import _ "embed"

//go:embed example.yaml
var example string

// Example is a commented file that says every key with its default.
func Example() string { return example }
