# Thin targets over tools/; `./opay` runs the stack.

.PHONY: build asan unit unit-asan lint test bench clean

build:
	tools/build.sh

asan:
	tools/build.sh --asan

unit:
	tools/unit.sh

unit-asan:
	tools/unit.sh --asan

lint:
	tools/lint.sh

test:
	./opay test

bench:
	./opay bench

clean:
	rm -rf build
