package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// This file is the only one that knows the YAML library. It walks the parsed
// document along the Config instead of using the library's decoder, which takes
// 3.5 for an int and true for a string, drops a second document, and loses the
// position of a duration that cannot be read.

// An Error is something wrong in a file.
type Error struct {
	File         string
	Line, Column int // from 1
	Text         string
	Excerpt      string // the lines around it with a mark; may be empty
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Text)
	if e.Excerpt != "" {
		s += "\n" + e.Excerpt
	}
	return s
}

// A document is a file that was decoded, kept to say where a value stands.
type document struct {
	name  string
	lines []string
	nodes map[string]*token.Token // by key, "flip.hold"
	top   *token.Token            // what to point at when a key is not in the file
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	portsType    = reflect.TypeFor[Ports]()
)

func decode(name string, text []byte, into *Config) (*document, error) {
	doc := &document{name: name, lines: strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"), nodes: map[string]*token.Token{}}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		var syntax *yaml.SyntaxError
		if errors.As(err, &syntax) {
			return nil, doc.fail(syntax.Token, "%s", syntax.Message)
		}
		return nil, &Error{File: name, Line: 1, Column: 1, Text: err.Error()}
	}
	var bodies []ast.Node
	for _, d := range file.Docs {
		if d.Body != nil && d.Body.Type() != ast.CommentType {
			bodies = append(bodies, d.Body)
		}
	}
	switch len(bodies) {
	case 0:
		return doc, nil // nothing but comments: all defaults
	case 1:
		return doc, doc.mapping(bodies[0], reflect.ValueOf(into).Elem(), "")
	default:
		return nil, doc.fail(placeOf(bodies[1]), "a second document begins here: one file holds one configuration")
	}
}

func (d *document) mapping(node ast.Node, into reflect.Value, path string) error {
	var values []*ast.MappingValueNode
	switch n := node.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		return d.mismatch(node, path, "keys and values")
	}
	// The first mapping is the document itself.
	if d.top == nil && len(values) > 0 {
		d.top = values[0].Key.GetToken()
	}
	for _, v := range values {
		key := v.Key.GetToken().Value
		field, ok := fieldOf(into, key)
		if !ok {
			return d.fail(v.Key.GetToken(), "unknown key %q%s", join(path, key), suggestion(into.Type(), key))
		}
		at := join(path, key)
		if d.nodes[at] != nil {
			return d.fail(v.Key.GetToken(), "key %q is given twice, first in line %d", at, d.nodes[at].Position.Line)
		}
		d.nodes[at] = v.Key.GetToken()
		if err := d.value(v.Value, field, at); err != nil {
			return err
		}
	}
	return nil
}

func (d *document) value(node ast.Node, into reflect.Value, path string) error {
	var err error
	switch {
	case into.Type() == durationType:
		err = d.duration(node, into, path)
	case into.Type() == portsType:
		err = d.ports(node, into, path)
	case into.Kind() == reflect.Struct:
		return d.mapping(node, into, path) // its place is that of its key
	case into.Kind() == reflect.Slice:
		err = d.list(node, into, path)
	case into.Kind() == reflect.String:
		text, ok := stringOf(node)
		if !ok {
			return d.mismatch(node, path, "text (put it in quotes if it looks like something else)")
		}
		into.SetString(text)
	case into.Kind() == reflect.Bool:
		b, ok := node.(*ast.BoolNode)
		if !ok {
			return d.mismatch(node, path, "true or false")
		}
		into.SetBool(b.Value)
	default:
		err = d.integer(node, into, path)
	}
	if err == nil {
		d.nodes[path] = placeOf(node)
	}
	return err
}

func (d *document) duration(node ast.Node, into reflect.Value, path string) error {
	text, ok := stringOf(node)
	if !ok {
		return d.mismatch(node, path, "a time with a unit, like 300ms or 2s")
	}
	v, err := time.ParseDuration(text)
	if err != nil {
		return d.fail(placeOf(node), "%s: %q is not a time: write a number and a unit, like 300ms or 2s", path, text)
	}
	into.SetInt(int64(v))
	return nil
}

func (d *document) ports(node ast.Node, into reflect.Value, path string) error {
	text, ok := stringOf(node)
	if n, isInt := node.(*ast.IntegerNode); isInt {
		text, ok = n.GetToken().Value, true
	}
	if !ok {
		return d.mismatch(node, path, "a range of ports like 19093-19192")
	}
	v, err := ParsePorts(text)
	if err != nil {
		return d.fail(placeOf(node), "%s: %v", path, err)
	}
	into.Set(reflect.ValueOf(v))
	return nil
}

func (d *document) list(node ast.Node, into reflect.Value, path string) error {
	seq, ok := node.(*ast.SequenceNode)
	if !ok {
		return d.mismatch(node, path, "a list, like [a, b]")
	}
	items := reflect.MakeSlice(into.Type(), len(seq.Values), len(seq.Values))
	for i, v := range seq.Values {
		if err := d.value(v, items.Index(i), fmt.Sprintf("%s[%d]", path, i)); err != nil {
			return err
		}
	}
	into.Set(items)
	return nil
}

func (d *document) integer(node ast.Node, into reflect.Value, path string) error {
	n, ok := node.(*ast.IntegerNode)
	if !ok {
		return d.mismatch(node, path, "a whole number")
	}
	var v int64
	switch x := n.Value.(type) {
	case int64:
		v = x
	case uint64:
		v = int64(min(x, 1<<63-1))
	}
	if into.OverflowInt(v) {
		return d.fail(placeOf(node), "%s: %s is too large a number", path, node.GetToken().Value)
	}
	into.SetInt(v)
	return nil
}

// stringOf is the text of a scalar. In a [list] the library takes host:9092 for
// a key and its value, which YAML does only when a space follows the colon.
func stringOf(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.MappingNode:
		if len(n.Values) == 1 {
			return stringOf(n.Values[0])
		}
		return "", false
	case *ast.MappingValueNode:
		key, colon, value := n.Key.GetToken(), n.Start, n.Value.GetToken()
		if key.Type != token.StringType || value.Position.Line != colon.Position.Line || value.Position.Column != colon.Position.Column+1 {
			return "", false
		}
		return key.Value + ":" + value.Value, true
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	default:
		return "", false
	}
}

func fieldOf(v reflect.Value, key string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("yaml") == key {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// suggestion names the keys that may stand in that place, and nothing else:
// there are few enough of them.
func suggestion(t reflect.Type, key string) string {
	var known []string
	for i := range t.NumField() {
		name := t.Field(i).Tag.Get("yaml")
		if strings.EqualFold(strings.NewReplacer("_", "", "-", "").Replace(key), name) {
			return fmt.Sprintf(": did you mean %q?", name)
		}
		known = append(known, name)
	}
	return ": here can be " + strings.Join(known, ", ")
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func (d *document) mismatch(node ast.Node, path, want string) error {
	if path == "" {
		return d.fail(placeOf(node), "the file holds %s, want keys and values: see `switchback serve --example`", kindOf(node))
	}
	at := placeOf(node)
	if key := d.nodes[path]; key != nil && node.Type() == ast.NullType {
		at = key // nothing has no place
	}
	return d.fail(at, "%s: is %s, want %s", path, kindOf(node), want)
}

func kindOf(node ast.Node) string {
	switch node.Type() {
	case ast.NullType:
		return "nothing"
	case ast.BoolType:
		return "true or false"
	case ast.IntegerType:
		return "a number"
	case ast.FloatType, ast.InfinityType, ast.NanType:
		return "a fraction"
	case ast.StringType, ast.LiteralType:
		return "text"
	case ast.SequenceType:
		return "a list"
	case ast.MappingType, ast.MappingValueType:
		return "keys and values"
	case ast.AnchorType, ast.AliasType, ast.MergeKeyType, ast.TagType:
		return "an anchor, alias or tag (none of them is read here)"
	default:
		return "something else"
	}
}

// placeOf is where a node begins; the library points at the colon of a mapping.
func placeOf(node ast.Node) *token.Token {
	switch n := node.(type) {
	case *ast.MappingNode:
		if len(n.Values) > 0 {
			return placeOf(n.Values[0])
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken()
	}
	return node.GetToken()
}

func (d *document) fail(at *token.Token, format string, args ...any) error {
	e := &Error{File: d.name, Line: 1, Column: 1, Text: fmt.Sprintf(format, args...)}
	if at != nil && at.Position != nil {
		e.Line, e.Column = at.Position.Line, at.Position.Column
	}
	e.Excerpt = d.excerpt(e.Line, e.Column)
	return e
}

// around is how many lines an excerpt shows before and behind the one meant.
const around = 2

// excerpt is the file around a place, as it is written, with marks.
func (d *document) excerpt(line, column int) string {
	var b strings.Builder
	for n := max(1, line-around); n <= min(len(d.lines), line+around); n++ {
		mark := " "
		if n == line {
			mark = ">"
		}
		text := strings.TrimRight(d.lines[n-1], "\r")
		fmt.Fprintf(&b, "%s %4d | %s\n", mark, n, text)
		if n == line {
			fmt.Fprintf(&b, "       | %s^\n", strings.Repeat(" ", max(0, column-1)))
		}
	}
	return strings.TrimRight(b.String(), "\n ")
}

// locate says where in the file the value of p stands; a default that cannot
// work together with what is written is shown at the top.
func (d *document) locate(p *problem) error {
	for key := p.key; ; {
		if at := d.nodes[key]; at != nil {
			return d.fail(at, "%s", p.Error())
		}
		i := strings.LastIndexAny(key, ".[")
		if i < 0 {
			return d.fail(d.top, "%s", p.Error())
		}
		key = key[:i]
	}
}
