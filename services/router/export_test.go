package router

var NewServer = newServer

const IdleTimeout = idleTimeout
