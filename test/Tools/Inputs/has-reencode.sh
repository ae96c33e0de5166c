#!/bin/sh
# Tells quant-reduce (by status 1) that the module still has what goes wrong.
! grep -q qlinear.reencode "$1"
