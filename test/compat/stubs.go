package main

import "context"

func (s *suite) toolsPart(ctx context.Context) error { return nil }
func (s *suite) swapPart(ctx context.Context)        {}
func (s *suite) crashPart(ctx context.Context)       {}
