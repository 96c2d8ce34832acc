package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// Plans are read by hand: a fully cached run does little else, and encoding/json
// took three times as long.

// plan reads a Plan.
func (s *scanner) plan(room int) (Plan, error) {
	var plan Plan
	err := s.members(room, func(key []byte) (err error) {
		switch string(key) {
		case "version":
			var version int64
			err = s.int(&version)
			plan.Version = int(version)
		case "stages":
			plan.Stages, err = list(s, room-1, s.stage)
		case "params":
			plan.Params, err = list(s, room-1, s.param)
		default:
			err = s.skip(room - 1)
		}
		return err
	})
	return plan, err
}

func (s *scanner) stage(room int) (Stage, error) {
	var stage Stage
	err := s.members(room, func(key []byte) (err error) {
		switch string(key) {
		case "name":
			err = s.text(&stage.Name)
		case "function":
			err = s.text(&stage.Function)
		case "doc":
			err = s.text(&stage.Doc)
		case "kind":
			err = s.text((*string)(&stage.Kind))
		case "inputs":
			stage.Inputs, err = list(s, room-1, s.input)
		case "output":
			stage.Output, err = s.typ(room - 1)
		case "after":
			stage.After, err = s.names(room - 1)
		case "policy":
			stage.Policy, err = s.policy(room - 1)
		default:
			err = s.skip(room - 1)
		}
		return err
	})
	if err == nil {
		err = stage.check()
	}
	if err != nil {
		err = fmt.Errorf("stage %q: %w", stage.Name, err)
	}
	return stage, err
}

func (s *scanner) input(room int) (Input, error) {
	var input Input
	err := s.members(room, func(key []byte) (err error) {
		switch string(key) {
		case "name":
			err = s.text(&input.Name)
		case "type":
			input.Type, err = s.typ(room - 1)
		case "from":
			input.From, err = s.from(room - 1)
		default:
			err = s.skip(room - 1)
		}
		return err
	})
	return input, err
}

func (s *scanner) from(room int) (From, error) {
	var from From
	err := s.members(room, func(key []byte) (err error) {
		switch string(key) {
		case "stage":
			err = s.text(&from.Stage)
		case "gather":
			from.Gather, err = s.names(room - 1)
		case "each":
			var each From
			each, err = s.from(room - 1)
			from.Each = &each
		case "value":
			from.Value, err = s.raw(room - 1)
		case "param":
			err = s.text(&from.Param)
		case "source":
			var source Source
			source, err = s.source(room - 1)
			from.Source = &source
		case "secret":
			err = s.text(&from.Secret)
		default:
			err = s.skip(room - 1)
		}
		return err
	})
	return from, err
}

func (s *scanner) source(room int) (Source, error) {
	var source Source
	err := s.members(room, func(key []byte) (err error) {
		switch string(key) {
		case "globs":
			source.Globs, err = s.names(room - 1)
		case "root":
			err = s.text((*string)(&source.Root))
		default:
			err = s.skip(room - 1)
		}
		return err
	})
	return source, err
}

func (s *scanner) policy(room int) (Policy, error) {
	var policy Policy
	err := s.members(room, func(key []byte) (err error) {
		switch string(key) {
		case "idempotent":
			err = s.bool(&policy.Idempotent)
		case "retry":
			var retry int64
			err = s.int(&retry)
			policy.Retry = int(retry)
		case "timeout_ms":
			err = s.int(&policy.TimeoutMS)
		default:
			err = s.skip(room - 1)
		}
		return err
	})
	return policy, err
}

func (s *scanner) param(room int) (Param, error) {
	var param Param
	err := s.members(room, func(key []byte) (err error) {
		switch string(key) {
		case "name":
			err = s.text(&param.Name)
		case "type":
			param.Type, err = s.typ(room - 1)
		case "default":
			param.Default, err = s.raw(room - 1)
		case "env":
			err = s.text(&param.Env)
		case "doc":
			err = s.text(&param.Doc)
		default:
			err = s.skip(room - 1)
		}
		return err
	})
	if err == nil && param.Type.Kind == "" {
		err = fmt.Errorf("parameter %q has no type", param.Name)
	}
	return param, err
}

// typ reads a Type, inside of which room levels may be open.
func (s *scanner) typ(room int) (Type, error) {
	if s.peek() == '"' {
		text, escaped, err := s.str()
		if err != nil {
			return Type{}, err
		}
		if kind := simpleKind(text); kind != "" && !escaped {
			return Type{Kind: kind}, nil
		}
		return Type{}, errors.New("it is not known")
	}
	var found Type
	err := s.members(room, func(key []byte) error {
		kind := TypeKind(key)
		var typ Type
		switch kind {
		case TypeList, TypeMap, TypeOptional:
			elem, err := s.typ(room - 1)
			if err != nil {
				return err
			}
			typ = Type{Kind: kind, Elem: &elem}
		case TypeRecord:
			record, err := s.record(room - 1)
			if err != nil {
				return err
			}
			typ = Type{Kind: kind, Record: &record}
		default:
			return s.skip(room - 1)
		}
		if found.Kind != "" {
			return errors.New("it is two types at once")
		}
		found = typ
		return nil
	})
	if err == nil && found.Kind == "" {
		err = errors.New("it is not known")
	}
	return found, err
}

func simpleKind(text []byte) TypeKind {
	switch kind := TypeKind(text); kind {
	case TypeNull, TypeBool, TypeInt, TypeFloat, TypeString, TypeFile, TypeDirectory, TypeTestReport, TypeSecret:
		return kind
	}
	return ""
}

func (s *scanner) record(room int) (Record, error) {
	var record Record
	err := s.members(room, func(key []byte) error {
		switch string(key) {
		case "name":
			return s.text(&record.Name)
		case "fields":
			var err error
			record.Fields, err = list(s, room-1, s.field)
			return err
		}
		return s.skip(room - 1)
	})
	return record, err
}

func (s *scanner) field(room int) (Field, error) {
	var field Field
	err := s.members(room, func(key []byte) (err error) {
		switch string(key) {
		case "name":
			return s.text(&field.Name)
		case "type":
			field.Type, err = s.typ(room - 1)
			return err
		}
		return s.skip(room - 1)
	})
	if err == nil && field.Type.Kind == "" {
		err = fmt.Errorf("the field %q has no type", field.Name)
	}
	return field, err
}

// members reads an object; value reads the value of the member with this key.
func (s *scanner) members(room int, value func(key []byte) error) error {
	if s.peek() != '{' {
		return s.unexpected()
	}
	return s.object(room, func() error {
		key, _, err := s.str() // no name of the protocol is written with escapes
		if err == nil {
			err = s.expect(':')
		}
		if err != nil {
			return err
		}
		return value(key)
	})
}

// text reads a string.
func (s *scanner) text(to *string) error {
	if s.peek() != '"' {
		return s.unexpected()
	}
	start := s.pos
	body, escaped, err := s.str()
	if err == nil && escaped {
		return json.Unmarshal(s.in[start:s.pos], to)
	}
	*to = string(body)
	return err
}

// list reads an array. It is not nil where that is empty.
func list[T any](s *scanner, room int, element func(room int) (T, error)) (List[T], error) {
	out := List[T]{}
	if s.peek() != '[' {
		return out, s.unexpected()
	}
	err := s.array(room, func() error {
		e, err := element(room - 1)
		out = append(out, e)
		return err
	})
	return out, err
}

func (s *scanner) names(room int) (List[string], error) {
	return list(s, room, func(int) (name string, err error) {
		err = s.text(&name)
		return name, err
	})
}

// raw reads any value and keeps its text.
func (s *scanner) raw(room int) (json.RawMessage, error) {
	s.space()
	start := s.pos
	err := s.skip(room)
	return json.RawMessage(s.in[start:s.pos:s.pos]), err
}

func (s *scanner) int(to *int64) error {
	s.space()
	text, integer, err := s.number()
	if err == nil && !integer {
		err = fmt.Errorf("%.40s is not an int", text)
	}
	if err == nil {
		*to, err = strconv.ParseInt(string(text), 10, 64)
	}
	return err
}

func (s *scanner) bool(to *bool) error {
	*to = s.peek() == 't'
	if *to {
		return s.literal("true")
	}
	return s.literal("false")
}
