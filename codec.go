package towpath

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/towpath/towpath/protocol"
)

// encode returns a value, whose type typeOf accepts, in canonical JSON.
func encode(v reflect.Value) (json.RawMessage, error) {
	text, err := appendValue(nil, v)
	if err != nil {
		return nil, err
	}
	return protocol.Canonicalize(text)
}

func appendValue(dst []byte, v reflect.Value) ([]byte, error) {
	if v.Type() == reflect.TypeFor[None]() {
		return append(dst, "null"...), nil
	}
	switch v.Kind() {
	case reflect.Bool:
		return strconv.AppendBool(dst, v.Bool()), nil
	case reflect.Int, reflect.Int64:
		return strconv.AppendInt(dst, v.Int(), 10), nil
	case reflect.Float64:
		return appendMarshaled(dst, protocol.Float(v.Float()))
	case reflect.String:
		return appendMarshaled(dst, protocol.String(v.String()))
	case reflect.Pointer:
		if v.IsNil() {
			return append(dst, "null"...), nil
		}
		return appendValue(dst, v.Elem())
	case reflect.Slice:
		return appendList(dst, v)
	case reflect.Map:
		return appendMap(dst, v)
	case reflect.Struct:
		return appendStruct(dst, v)
	}
	return nil, unsupported(v.Type(), allowedTypes)
}

func appendMarshaled(dst []byte, v json.Marshaler) ([]byte, error) {
	text, err := v.MarshalJSON()
	return append(dst, text...), err
}

func appendList(dst []byte, v reflect.Value) ([]byte, error) {
	dst = append(dst, '[')
	for i := range v.Len() {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = appendValue(dst, v.Index(i)); err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
	}
	return append(dst, ']'), nil
}

func appendMap(dst []byte, v reflect.Value) ([]byte, error) {
	dst = append(dst, '{')
	first := true
	for key, value := range v.Seq2() {
		if strings.HasPrefix(key.String(), "$") {
			return nil, refusal("keys that start with $ are the protocol's", "key %q starts with a dollar sign", key)
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		var err error
		if dst, err = appendMarshaled(dst, protocol.String(key.String())); err != nil {
			return nil, err
		}
		if dst, err = appendValue(append(dst, ':'), value); err != nil {
			return nil, fmt.Errorf("key %q: %w", key, err)
		}
	}
	return append(dst, '}'), nil
}

func appendStruct(dst []byte, v reflect.Value) ([]byte, error) {
	switch value := v.Interface().(type) {
	case File:
		if err := value.check(); err != nil {
			return nil, err
		}
		return appendMarshaled(dst, value.file)
	case Directory:
		if err := value.check(); err != nil {
			return nil, err
		}
		return appendMarshaled(dst, value.directory)
	case Secret:
		return appendMarshaled(dst, value.secret)
	case TestReport:
		if err := value.JUnit.check(); err != nil {
			return nil, fmt.Errorf("JUnit: %w", err)
		}
		return appendMarshaled(dst, value.report())
	}
	dst = append(dst, '{')
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name, err := fieldName(field)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(strconv.AppendQuote(dst, name), ':')
		if dst, err = appendValue(dst, v.Field(i)); err != nil {
			return nil, fmt.Errorf("%s: %w", field.Name, err)
		}
	}
	return append(dst, '}'), nil
}

// decode reads a value into v, which can be set and whose type typeOf accepts.
// It is strict: what is read is what encode would write, but for an int where a
// float belongs.
func decode(raw json.RawMessage, v reflect.Value) error {
	text, err := protocol.Canonicalize(raw)
	if err != nil {
		return err
	}
	return readValue(text, v)
}

func readValue(raw json.RawMessage, v reflect.Value) error {
	if v.Type() == reflect.TypeFor[None]() {
		if string(raw) != "null" {
			return mismatch(raw, v)
		}
		return nil
	}
	if v.Kind() == reflect.Pointer {
		if string(raw) == "null" {
			v.SetZero()
			return nil
		}
		v.Set(reflect.New(v.Type().Elem()))
		return readValue(raw, v.Elem())
	}
	if string(raw) == "null" {
		return mismatch(raw, v)
	}
	switch v.Kind() {
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(string(raw), 10, v.Type().Bits())
		if err != nil {
			return mismatch(raw, v)
		}
		v.SetInt(n)
		return nil
	case reflect.Bool:
		return readScalar(raw, v, v.SetBool)
	case reflect.Float64:
		return readScalar(raw, v, v.SetFloat)
	case reflect.String:
		return readScalar(raw, v, v.SetString)
	case reflect.Slice:
		return readList(raw, v)
	case reflect.Map:
		return readMap(raw, v)
	case reflect.Struct:
		return readStruct(raw, v)
	}
	return unsupported(v.Type(), allowedTypes)
}

// readScalar keeps clear of methods for JSON that the type of v may have: the
// plan says that it is plain.
func readScalar[T any](raw json.RawMessage, v reflect.Value, set func(T)) error {
	var value T
	if err := json.Unmarshal(raw, &value); err != nil {
		return mismatch(raw, v)
	}
	set(value)
	return nil
}

func readList(raw json.RawMessage, v reflect.Value) error {
	var elements []json.RawMessage
	if err := json.Unmarshal(raw, &elements); err != nil {
		return mismatch(raw, v)
	}
	v.Set(reflect.MakeSlice(v.Type(), len(elements), len(elements)))
	for i, element := range elements {
		if err := readValue(element, v.Index(i)); err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
	}
	return nil
}

func readMap(raw json.RawMessage, v reflect.Value) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return mismatch(raw, v)
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(members)))
	for key, member := range members {
		if strings.HasPrefix(key, "$") {
			return fmt.Errorf("key %q starts with a dollar sign", key)
		}
		value := reflect.New(v.Type().Elem()).Elem()
		if err := readValue(member, value); err != nil {
			return fmt.Errorf("key %q: %w", key, err)
		}
		v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), value)
	}
	return nil
}

func readStruct(raw json.RawMessage, v reflect.Value) error {
	switch to := v.Addr().Interface().(type) {
	case *File:
		if err := json.Unmarshal(raw, &to.file); err != nil {
			return err
		}
		return to.check()
	case *Directory:
		if err := json.Unmarshal(raw, &to.directory); err != nil {
			return err
		}
		return to.check()
	case *Secret:
		return json.Unmarshal(raw, &to.secret)
	case *TestReport:
		var report protocol.TestReport
		if err := json.Unmarshal(raw, &report); err != nil {
			return err
		}
		*to = testReportOf(report)
		return to.JUnit.check()
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return mismatch(raw, v)
	}
	for i := range v.NumField() {
		name, err := fieldName(v.Type().Field(i))
		if err != nil {
			return err
		}
		member, ok := members[name]
		if !ok {
			return fmt.Errorf("%s has no member %q", v.Type(), name)
		}
		delete(members, name)
		if err := readValue(member, v.Field(i)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for name := range members {
		return fmt.Errorf("%s does not know the member %q", v.Type(), name)
	}
	return nil
}

func mismatch(raw json.RawMessage, v reflect.Value) error {
	const shown = 40
	text := string(raw[:min(len(raw), shown)])
	if len(raw) > shown {
		text = strings.ToValidUTF8(text, "") + "…"
	}
	return fmt.Errorf("%s is not of the type %s", text, v.Type())
}

// asType returns v, or a pointer to it, whichever is of type t.
func asType(v reflect.Value, t reflect.Type) reflect.Value {
	if v.Type() == t {
		return v
	}
	pointer := reflect.New(t.Elem())
	pointer.Elem().Set(v)
	return pointer
}
