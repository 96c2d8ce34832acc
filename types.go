package towpath

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/towpath/towpath/protocol"
)

// None is the output of a stage that has none.
type None struct{}

// refused is why something cannot be declared; its text goes on after the name of
// what it is about.
type refused struct {
	text string
	hint string
}

func refusal(hint, format string, args ...any) *refused {
	return &refused{text: fmt.Sprintf(format, args...), hint: hint}
}

func (r *refused) Error() string { return r.text }

func hintOf(err error) string {
	if r, ok := errors.AsType[*refused](err); ok {
		return r.hint
	}
	return ""
}

const allowedTypes = "use bool, int, int64, float64, string, File, Directory, TestReport, Secret, []T, map[string]T, *T or a struct of those"

// typeOf returns the protocol's type of t. Its error is a *refused.
func typeOf(t reflect.Type) (protocol.Type, error) { return typeInside(t, nil) }

// typeInside is typeOf for a type that is a part of the records in outer.
func typeInside(t reflect.Type, outer []reflect.Type) (protocol.Type, error) {
	switch t {
	case reflect.TypeFor[File]():
		return protocol.Type{Kind: protocol.TypeFile}, nil
	case reflect.TypeFor[Directory]():
		return protocol.Type{Kind: protocol.TypeDirectory}, nil
	case reflect.TypeFor[TestReport]():
		return protocol.Type{Kind: protocol.TypeTestReport}, nil
	case reflect.TypeFor[Secret]():
		return protocol.Type{Kind: protocol.TypeSecret}, nil
	case reflect.TypeFor[None]():
		return protocol.Type{Kind: protocol.TypeNull}, nil
	}
	switch t.Kind() {
	case reflect.Bool:
		return protocol.Type{Kind: protocol.TypeBool}, nil
	case reflect.Int, reflect.Int64:
		return protocol.Type{Kind: protocol.TypeInt}, nil
	case reflect.Float64:
		return protocol.Type{Kind: protocol.TypeFloat}, nil
	case reflect.String:
		return protocol.Type{Kind: protocol.TypeString}, nil
	case reflect.Slice:
		elem, err := typeInside(t.Elem(), outer)
		return protocol.ListOf(elem), err
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			return protocol.Type{}, unsupported(t, "the keys of a map are strings: use map[string]T")
		}
		elem, err := typeInside(t.Elem(), outer)
		return protocol.MapOf(elem), err
	case reflect.Pointer:
		if t.Elem().Kind() == reflect.Pointer {
			return protocol.Type{}, unsupported(t, "one * makes a value optional")
		}
		elem, err := typeInside(t.Elem(), outer)
		return protocol.OptionalOf(elem), err
	case reflect.Struct:
		return recordOf(t, outer)
	}
	return protocol.Type{}, unsupported(t, hintForType(t))
}

func recordOf(t reflect.Type, outer []reflect.Type) (protocol.Type, error) {
	if t.Implements(reflect.TypeFor[Node]()) {
		return protocol.Type{}, unsupported(t, "a Ref is a field of a stage's inputs, and not inside of anything else")
	}
	if slices.Contains(outer, t) {
		return protocol.Type{}, unsupported(t, "a record cannot contain itself: pass a list of flat records that name each other")
	}
	// The name of a generic type goes on with its arguments.
	name, _, _ := strings.Cut(t.Name(), "[")
	if name == "" {
		return protocol.Type{}, unsupported(t, hintForUnnamed(t))
	}
	record := protocol.RecordOf(name)
	names := make(map[string]bool)
	for field := range t.Fields() {
		fieldName, err := fieldName(field)
		if err == nil && names[fieldName] {
			err = refusal("rename one with a tag: `towpath:\"name\"`", "%s has the same name as another", field.Name)
		}
		var typ protocol.Type
		if err == nil {
			names[fieldName] = true
			if typ, err = typeInside(field.Type, append(slices.Clip(outer), t)); err != nil {
				err = refusal(hintOf(err), "%s %v", field.Name, err)
			}
		}
		if err != nil {
			return protocol.Type{}, refusal(hintOf(err), "has the type %s, whose field %v", t, err)
		}
		record.Record.Fields = append(record.Record.Fields, protocol.Field{Name: fieldName, Type: typ})
	}
	return record, nil
}

func unsupported(t reflect.Type, hint string) *refused {
	return refusal(hint, "has the type %s, which a pipeline cannot pass", t)
}

func hintForUnnamed(t reflect.Type) string {
	if t.NumField() == 0 {
		return "give the struct a name; a stage without an output returns None"
	}
	return "give the struct a name"
}

func hintForType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "use int or int64; for bytes, NewFile and File"
	case reflect.Float32:
		return "use float64"
	case reflect.Array:
		return "use a slice"
	}
	return allowedTypes
}

// fieldName returns the name that a field has in plans and values. Its error is a
// *refused.
func fieldName(field reflect.StructField) (string, error) {
	switch {
	case field.Anonymous:
		return "", refusal("give the field a name", "%s is embedded", field.Name)
	case !field.IsExported():
		return "", refusal("the engine keeps values, and sees what is exported", "%s is not exported", field.Name)
	}
	if tag, ok := field.Tag.Lookup("towpath"); ok {
		if !isFunctionName(tag) {
			return "", refusal("a name has at most 100 letters, digits and underscores", "%s has the tag %q", field.Name, tag)
		}
		return tag, nil
	}
	name := snakeCase(field.Name)
	if !isFunctionName(name) {
		return "", refusal("name it with a tag: `towpath:\"name\"`", "%s has letters besides those of English", field.Name)
	}
	return name, nil
}

// snakeCase writes a Go name as Python would: ShardCount is shard_count, JUnitXML
// is j_unit_xml, URLs is urls.
func snakeCase(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 {
			previous := runes[i-1]
			rest := runes[i+1:]
			startsWord := len(rest) > 0 && unicode.IsLower(rest[0]) && (len(rest) > 1 || rest[0] != 's')
			if previous != '_' && (!unicode.IsUpper(previous) || startsWord) {
				b.WriteByte('_')
			}
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// isFileName reports whether s can be the name of a file.
func isFileName(s string) bool {
	return s != "" && s != "." && s != ".." && utf8.ValidString(s) && !strings.ContainsAny(s, "/\x00")
}
