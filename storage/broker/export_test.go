package broker

// RetainOnce is one of Retain's passes.
func (b *Broker) RetainOnce() { b.retain() }
