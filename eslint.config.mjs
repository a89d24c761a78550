// The parts of the page's script are one script: lint them together, as CONTRIBUTING.md says.

const BROWSER = [
  "Blob", "DecompressionStream", "ImageData", "Response", "atob", "createImageBitmap", "document", "getComputedStyle",
  "matchMedia", "performance", "setTimeout", "window",
];

export default [
  {
    languageOptions: {
      ecmaVersion: 2022,
      sourceType: "script",
      globals: Object.fromEntries(BROWSER.map((name) => [name, "readonly"])),
    },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "array-callback-return": "error",
      "eqeqeq": "error",
      "max-len": ["error", 120],
      "no-dupe-keys": "error",
      "no-fallthrough": "error",
      "no-implicit-globals": "off",
      "no-redeclare": "error",
      "no-self-compare": "error",
      "no-shadow": "error",
      "no-undef": "error",
      "no-unreachable": "error",
      "no-unused-vars": "error",
      "no-use-before-define": ["error", { functions: false, variables: false }],
      "no-var": "error",
      "prefer-const": "error",
      "strict": ["error", "global"],
      "use-isnan": "error",
      "valid-typeof": "error",
    },
  },
];
