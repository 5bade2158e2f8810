// What some packages take for granted, as Backstage's own bundler provides it.
export { Buffer } from 'buffer';
