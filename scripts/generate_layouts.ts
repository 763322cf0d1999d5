import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { readCompiledObject, renderLayouts } from './bpf_layouts.ts';
import { writeGenerated } from './write_generated.ts';

/** Compiles the BPF programs and writes src/bpf/generated from the BTF of the objects. */

const SOURCES = new URL('../src/bpf/', import.meta.url);
const OBJECTS = new URL('../dist/bpf/', import.meta.url);

const made = spawnSync('make', ['-s', '-j2', '-C', fileURLToPath(SOURCES)], { stdio: 'inherit' });
if (made.status !== 0)
  throw new Error('could not compile the BPF programs; run scripts/setup to install clang and llvm');

// The list is derived from the sources, because dist/bpf may still contain an object whose source was removed.
const files = ['probes/', 'walks/']
  .flatMap((folder) => readdirSync(new URL(folder, SOURCES)))
  .filter((name) => name.endsWith('.bpf.c'))
  .map((name) => name.replace(/c$/, 'o'))
  .sort();
const objects = files.map((file) => readCompiledObject(file, readFileSync(new URL(file, OBJECTS))));
for (const [name, text] of renderLayouts(objects)) writeGenerated(new URL(`generated/${name}`, SOURCES), text);
