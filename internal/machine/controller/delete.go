package controller

import (
	"github.com/moldau/moldau/internal/format/wire"
)

// deletion is one thing that a request asks to delete, by name or by id.
type deletion struct {
	name *string
	id   wire.UUID
}

// deletions gives what either form of the request names (versions 1 to 5 have names only).
func deletions(r *wire.DeleteTopicsRequest) []deletion {
	all := make([]deletion, 0, len(r.Topics)+len(r.TopicNames))
	for i := range r.TopicNames {
		all = append(all, deletion{name: &r.TopicNames[i]})
	}
	for i := range r.Topics {
		all = append(all, deletion{name: r.Topics[i].Name, id: r.Topics[i].TopicID})
	}
	return all
}

func (d topics) deleteTopics(r *wire.DeleteTopicsRequest) Decision {
	all := deletions(r)
	reply := &wire.DeleteTopicsResponse{Responses: []wire.DeleteTopicsResponseDeletableTopicResult{}}
	answer := func(w deletion, f *fault) {
		result := wire.DeleteTopicsResponseDeletableTopicResult{Name: w.name, TopicID: w.id}
		result.ErrorCode, result.ErrorMessage = f.parts()
		reply.Responses = append(reply.Responses, result)
	}
	if !d.Config.GetBool("delete.topic.enable") {
		for _, w := range all {
			answer(w, refuse(wire.TopicDeletionDisabled, "Topic deletion is disabled."))
		}
		return Decision{Reply: reply}
	}
	byName, byID := map[string]int{}, map[wire.UUID]int{}
	for _, w := range all {
		switch {
		case w.name == nil:
			byID[w.id]++
		case w.id.IsZero():
			byName[*w.name]++
		}
	}
	// A topic named both ways is deleted neither way, and its id gets no answer of its own.
	for name := range byName { // unordered: each name is looked at by itself
		if t, ok := d.image.Topic(name); ok && byID[t.ID] == 1 {
			byID[t.ID] = -1
		}
	}
	for _, w := range all {
		switch {
		case w.name == nil && w.id.IsZero():
			answer(w, refuse(wire.InvalidRequest, "Neither topic name nor id were specified."))
		case w.name != nil && !w.id.IsZero():
			answer(w, refuse(wire.InvalidRequest, "You may not specify both topic name and topic id."))
		case w.name != nil && byName[*w.name] > 1:
			answer(w, refuse(wire.InvalidRequest, "Duplicate topic name."))
			byName[*w.name] = -1 // said once for all of them
		case w.name == nil && byID[w.id] > 1:
			answer(w, refuse(wire.InvalidRequest, "Duplicate topic id."))
			byID[w.id] = -1
		case w.name != nil && byName[*w.name] < 0, w.name == nil && byID[w.id] < 0:
		default:
			d.deleteTopic(w, byID, answer)
		}
	}
	if len(d.records) > MaxRecordsPerRequest {
		for i := range reply.Responses {
			reply.Responses[i].ErrorCode, reply.Responses[i].ErrorMessage = tooManyRecords().parts()
		}
		return Decision{Reply: reply}
	}
	return d.done(reply, false)
}

func (d topics) deleteTopic(w deletion, byID map[wire.UUID]int, answer func(deletion, *fault)) {
	if w.name == nil {
		t, ok := d.image.TopicByID(w.id)
		if !ok {
			answer(w, standard(wire.UnknownTopicID))
			return
		}
		w.name = &t.Name
	} else {
		t, ok := d.image.Topic(*w.name)
		if !ok {
			answer(w, standard(wire.UnknownTopicOrPartition))
			return
		}
		w.id = t.ID
		if byID[w.id] != 0 {
			answer(w, refuse(wire.InvalidRequest, "The provided topic name maps to an ID that was already supplied."))
			return
		}
	}
	if t, ok := d.image.TopicByID(w.id); ok {
		if f := d.permit(len(t.Partitions)); f != nil {
			answer(w, f)
			return
		}
	}
	d.add(&wire.RemoveTopicRecord{TopicID: w.id})
	answer(w, nil)
}
