package main

import "context"

func (s *suite) streamsPart(ctx context.Context) error { return nil }
