"""Class names, in label order."""

from __future__ import annotations

CIFAR10_CLASSES: tuple[str, ...] = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
SHAPES_CLASSES: tuple[str, ...] = (
    "disk",
    "ring",
    "square",
    "triangle",
    "star",
    "plus",
    "bar",
    "crescent",
    "half-disk",
    "chevron",
)
GTSRB_CLASSES: tuple[str, ...] = (
    "Speed limit 20",
    "Speed limit 30",
    "Speed limit 50",
    "Speed limit 60",
    "Speed limit 70",
    "Speed limit 80",
    "End of speed limit 80",
    "Speed limit 100",
    "Speed limit 120",
    "No overtaking",
    "No overtaking by trucks",
    "Priority at next crossing",
    "Priority road",
    "Yield",
    "Stop",
    "No vehicles",
    "No trucks",
    "No entry",
    "General danger",
    "Bend left",
    "Bend right",
    "Double bend",
    "Bumpy road",
    "Slippery road",
    "Road narrows",
    "Road works",
    "Traffic signals",
    "Pedestrians",
    "Children",
    "Bicycles",
    "Snow or ice",
    "Wild animals",
    "End of all limits",
    "Turn right ahead",
    "Turn left ahead",
    "Ahead only",
    "Ahead or right",
    "Ahead or left",
    "Keep right",
    "Keep left",
    "Roundabout",
    "End of no overtaking",
    "End of no overtaking by trucks",
)
_CIFAR100 = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
    castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
    elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
    man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
    pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
    skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
    tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
CIFAR100_CLASSES: tuple[str, ...] = tuple(_CIFAR100.split())
